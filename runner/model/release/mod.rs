//! A deploy as data: what should run, what does run, and the operations between.
