"""An embedded Kubernetes API server: good enough that kubectl, client libraries and controllers work against it.

It is a process of its own (``python -m coldtui.lab.apiserver --dir DIR``). Objects live in memory as encoded JSON, so a list is a join
of bytes and a watch event a concatenation; decoding happens for patches, selectors and tables only. What it leaves out on purpose: CEL rules
and webhooks of custom resources, server-side apply (415), exec, OpenAPI schemas of the built-in kinds (so unknown fields of those are kept).
"""
