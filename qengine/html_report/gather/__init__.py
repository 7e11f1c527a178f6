"""Facts for a report, from the analyses: one part a file, each of the numbers of one `Report`."""
