"""How few evaluations a sampler needs: any sampler over tables of trained architectures."""
