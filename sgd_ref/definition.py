"""The version of the definition (the bits); the package and the golden data have versions of their own.

``DEFINITION.md`` beside this file says what its numbers mean, and what happens when Keras changes.
"""

DEFINITION_VERSION = "0.1.0"
"""The version of the definition that this package holds, as three numbers.

The first number goes up when an answer changes, the second when the definition covers more, the third when
a bug of the reference is fixed. Golden data and reports contain this version.
"""
