"""Real PostgreSQL servers behind the Cluster of the lab: programs, servers, instance managers, the way in (VIP), load and faults."""
