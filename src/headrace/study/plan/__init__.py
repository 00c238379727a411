"""Plans, proven and explained: a plan as a fleet, its proof by simulation, its studies, its report."""
