//! GitHub's expression language: `${{ }}` text to values.
