"""The service registry: instances register, renew, leave and are looked up by the REST protocol of Eureka.

instance_registry.py is the state, pure and told the time; rest.py the protocol, pure too; application.py serves both as
an ASGI application; server.py is the process that ``resilience registry`` runs.
"""
