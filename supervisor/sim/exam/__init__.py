"""The exam of judgement: scenarios played on virtual time by the production engine, by baselines and by an oracle.

    scenario (TOML) -> site (mechanics: machines, links, zones, dependencies) <- faults
    healer (production engine | baseline | oracle) <- desk (its eyes, its cloud, its timer, its pager) <- site
    score <- what really happened at the site, and what the healer said

The site makes symptoms mechanically: it may not know how anybody judges (an import contract says so).
"""
