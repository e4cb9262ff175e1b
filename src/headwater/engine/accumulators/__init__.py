"""What an aggregate keeps per group, one module per kind; all of it exact under retraction."""
