"""L2: access services. Which tokens exist, whose they are and what they allow; never logs one."""
