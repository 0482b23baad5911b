//! What a micro-VM's init and the driver on its host say to each other.
