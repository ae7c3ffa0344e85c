"""Prints seeds for heap_fuzz, one a line: operations drawn from a fixed seed, in spells of growth and decline."""
import random

random.seed(20250)
for line in range(24):
    data = bytearray()
    while len(data) < 20 * (1 + line % 10):
        growing = len(data) // 60 % 2 == 0
        if random.random() < (0.75 if growing else 0.3):
            data += bytes([12 + 16 * random.randrange(16), random.randrange(256), random.randrange(256)])
        elif random.random() < 0.8:
            data += bytes([8 + 16 * random.randrange(16), random.randrange(256)])
        else:
            data += bytes(random.randrange(256) for _ in range(4))
    print("".join("\\x%02x" % b for b in data))
