"""What stands before a fleet on AWS may be healed: the permissions, the look at everything, the page that tells how."""
