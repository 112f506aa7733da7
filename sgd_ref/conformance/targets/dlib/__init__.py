"""dlib, a library for machine learning in C++, as a target."""
