"""The command line ``seqserve-train``: arguments, progress logs, and data inspection."""
