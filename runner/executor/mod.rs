//! Where steps run: this host or a container.
