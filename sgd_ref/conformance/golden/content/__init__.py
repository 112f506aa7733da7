"""What the golden data holds, by kind of entry."""
