"""The gateway's own server: HTTP/1.1 on llhttp, HTTP/2 on h2, and asyncio transports below both."""
