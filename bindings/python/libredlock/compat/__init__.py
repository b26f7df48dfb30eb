"""What users of other packages change their import to: :mod:`libredlock.compat.redlock` and
:mod:`libredlock.compat.redlock_ng`."""
