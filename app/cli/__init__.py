"""The command `stylize`: a client of the service, the operator's keys and jobs, and `stylize doctor`."""
