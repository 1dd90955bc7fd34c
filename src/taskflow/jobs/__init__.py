"""The jobs of the API: what may be asked of the engine by whom, and how it looks."""
