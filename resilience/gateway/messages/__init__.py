"""Messages of HTTP on their way through: what the two sides of the gateway, and its filters, know of them."""
