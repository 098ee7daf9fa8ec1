"""An API Gateway WebSocket API on one local port."""
