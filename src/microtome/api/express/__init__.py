"""Express answers: warm and stored tiles leave the server before any ASGI scope or framework work.

``prepared`` keeps ready answers and asks the API families for them, ``protocol`` puts them on the wire. Everything the
express way does not know falls through to the ordinary way, and both write the same bytes.
"""
