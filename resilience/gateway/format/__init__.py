"""Format: what requests and responses look like, checked and changed. All of it is pure but for the reading of files.

=================  =========================================================================================
json_text          JSON text to values, strictly and within bounds, and back
content            media types and content codings of bodies
unreadable_body    that a body cannot be read, and what its client is told
documents          files of JSON or YAML, and what they refer to; only local files
schema             JSON Schema 2020-12: does a value fit, and if not, where and why
explanation        the places in a value that do not fit a schema
parameters         the values that the texts of OpenAPI's parameters stand for
path_templates     which template of an OpenAPI document a path fits
openapi            OpenAPI 3.1: an operation's parameters, body and responses
values             texts with places for what is known of an exchange
checking           what the filters that check have in common: modes, limits, what is done
schema_filter      the filter ``json_schema``; likewise openapi_filter, header_filter, body_filter, error_filter
=================  =========================================================================================
"""
