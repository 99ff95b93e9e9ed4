"""The only modules of `app.butler` that use private names of ``lsst.daf.butler``.

One test says which name has moved when a new release of Butler changes one.  Another test checks
that the bulk insert writes the same rows as Butler's public methods.
"""
