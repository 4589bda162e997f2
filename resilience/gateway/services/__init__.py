"""Services: what stands behind a route, its endpoints, their commands, and the attempts of a request at them."""
