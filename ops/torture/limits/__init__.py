"""No room on the disk, files that may not grow, no descriptors left; and then room again."""
