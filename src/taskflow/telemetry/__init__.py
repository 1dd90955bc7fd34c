"""What the product says about itself: event names, log lines, metrics, traces."""
