"""The only private names of ``lsst.daf.butler`` that this service uses."""
