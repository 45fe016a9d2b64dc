"""The models as a local page and as an HTTP and WebSocket API: speech-app; see app/README.md."""
