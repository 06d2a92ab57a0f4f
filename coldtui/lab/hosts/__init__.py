"""The machines under the nodes as SSH shows them: one server a node, commands that answer as those of a K3s host do, reboots that take time.

`server` is the only importer of asyncssh; everything else is plain state and text, so that the lab is ready before it is loaded.
"""
