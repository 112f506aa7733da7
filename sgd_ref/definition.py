"""The version of the definition: of the bits, apart from the package and from the golden data.

``DEFINITION.md`` beside this file says what its numbers mean, and what happens when Keras changes.
"""

DEFINITION_VERSION = "0.1.0"
"""The version of the definition that this package holds, as three numbers.

The first goes up when an answer becomes another one, the second when more is defined, the third when the
reference did not compute what its definition says. Golden data and reports carry it.
"""
