"""zip-keras: object proposals and detection with Zoom Out-and-In networks and Map Attention Decision."""

__version__ = "0.1.0"
