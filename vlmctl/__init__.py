"""vlmctl: choose, price and run open vision-language models on your own GPUs."""
