"""The watchword lists in service: versions, proposals, signatures, trials, and what each process runs."""
