"""The provider `ec2` against an AWS of our own, over real HTTP."""
