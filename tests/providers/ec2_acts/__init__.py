"""What is done to machines on AWS, against an AWS of our own over real HTTP."""
