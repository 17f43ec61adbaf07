//! What is wrong in a file that a person wrote, with its place and a hint.
