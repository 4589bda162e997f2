"""The gateway's own HTTP/1.1 server, on llhttp and asyncio transports."""
