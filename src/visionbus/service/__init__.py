"""The service: clients send images, workers answer them, and the answers are kept; see `docs/service.md`."""
