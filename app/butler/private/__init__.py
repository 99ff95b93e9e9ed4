"""The only modules of `app.butler` that use private names of ``lsst.daf.butler``.

A test says which name has moved when a new release changes one; another test holds the tables that
are written equal to those that Butler's public methods write.
"""
