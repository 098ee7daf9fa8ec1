"""An API Gateway WebSocket API on one loopback port."""
