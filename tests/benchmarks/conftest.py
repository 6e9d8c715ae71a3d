"""Nothing here is a test: the benchmarks are run by hand, with compare.py."""

collect_ignore_glob = ["*"]
