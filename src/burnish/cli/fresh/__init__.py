"""What `burnish train` on fresh answers is told in words: rewards by route, a server that samples, tools."""
