"""uvicorn with limits on what a connection may send, hold and leave unread."""
