"""The format of the golden data, its schemas, and the folder of its files."""
