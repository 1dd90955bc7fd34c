"""Workers in any language: they claim jobs over HTTP and say what became of them."""
