"""Amazon's API as a stand-in: as strict as the real one, as slow, and as nasty on demand.

`with Aws(rate=20) as aws: world = build(aws)` is all that a test needs to begin.
"""

from tests.standins.aws.call import AwsError
from tests.standins.aws.cloud import Aws
from tests.standins.aws.log import MOMENTS, Entry, Moment
from tests.standins.aws.world import World, build, template_data

__all__ = ["MOMENTS", "Aws", "AwsError", "Entry", "Moment", "World", "build", "template_data"]
