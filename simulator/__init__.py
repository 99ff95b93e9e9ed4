"""A simulated night of Prompt Processing: a camera, its visits, and the pods that process them."""
