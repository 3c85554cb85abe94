"""What carries packets: memory, frames on lo, a TUN device. Each link has two ends; see `base.Link`."""
